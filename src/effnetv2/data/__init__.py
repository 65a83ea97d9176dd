"""Pictures and labels, at the size a step asks for."""
