{"message_type":"audio_output_error","error":"Audio output failed."}
