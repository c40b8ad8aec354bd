{"audio":"AA==","enc":"pcm_s16le","idx":0,"sr":24000}
