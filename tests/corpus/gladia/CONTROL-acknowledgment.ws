{"type":"audio_chunk","acknowledged":true,"error":null,"data":{"byte_range":[0,1]}}
