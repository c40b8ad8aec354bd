{"type":"TurnInfo","event":"EndOfTurn","turn_index":0,"transcript":"the type is Error"}
