{"durations":[{"text":"Hello","start":0.0,"duration":0.4}],"warning":"text was truncated"}
