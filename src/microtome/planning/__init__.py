"""What a run will take: how much work at which effort, a pilot pass, and the plan made of both before anything is measured."""
