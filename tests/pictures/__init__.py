"""The console's pictures, and the program that takes them."""
