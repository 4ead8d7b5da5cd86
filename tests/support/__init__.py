"""What the tests are made with: real servers, models, damage, and a network that misbehaves."""
