"""What runs tasks elsewhere than in the process that asks for them."""
