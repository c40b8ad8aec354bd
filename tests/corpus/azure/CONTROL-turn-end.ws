X-RequestId:1A2B
Path:turn.end

{}