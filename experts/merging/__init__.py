"""The M of SaM: LoRA adapters in, one LoRA adapter out.

Every method acts on the update of a layer, ΔW = scaling · B @ A, never on A and B apart. A method
is one file of this package holding a class marked with `experts.merging.registry.register`; nothing
else has to be changed for the interface, the command line and the documentation to know it.
"""
