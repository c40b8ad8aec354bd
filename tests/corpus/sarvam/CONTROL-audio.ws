{"type":"audio","data":{"content_type":"audio/wav","audio":"AAAA"}}
