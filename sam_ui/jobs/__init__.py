"""Long work: a queue in the database, one worker process, a supervisor in the app."""
