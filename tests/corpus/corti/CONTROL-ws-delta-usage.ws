{"type":"delta_usage","credits":0.1}
