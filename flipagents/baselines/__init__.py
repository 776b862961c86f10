"""What the agents are compared with: masks from an image and a box without any agent."""
