"""`./dev bench`: the shipped service beside what people would write or pick instead."""
