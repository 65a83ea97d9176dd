"""What the networks cost on this machine, beside timm's and torchvision's."""
