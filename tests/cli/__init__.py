"""Commands, as a person types them and as a script runs them."""
