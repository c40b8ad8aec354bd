{"type":"Turn","turn_order":0,"end_of_turn":true,"transcript":"an Error occurred","words":[]}
