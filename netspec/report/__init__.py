"""What is shown of a network: tables, JSON, reference pages."""
