{"type":"error","status":"error","message":"Session timed out after 30s of inactivity"}
