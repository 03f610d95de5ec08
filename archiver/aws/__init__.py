"""The only package that names AWS. Turns its errors into ours at the edge."""
