"""What the project measures itself with: load, peers to compare with, and the arithmetic of the comparison."""
