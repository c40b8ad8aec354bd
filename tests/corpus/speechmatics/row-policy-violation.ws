{"message":"Error","type":"policy_violation","reason":"It was refused"}
