X-RequestId:1A
Content-Type:application/json; charset=utf-8
Path:translation.synthesis.end

{"SynthesisStatus":"Error","FailureReason":"x"}