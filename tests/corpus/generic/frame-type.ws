{"type":"Error","description":"Rate limit reached","variant":"x"}
