"""What is under test: adapters for encoders, and the trainer that makes new ones."""
