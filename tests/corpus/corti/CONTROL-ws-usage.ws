{"type":"usage","credits":0.1}
