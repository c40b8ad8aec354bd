X-RequestId:1A
Content-Type:application/json; charset=utf-8
Path:audio.metadata

{"Metadata":[{"Type":"WordBoundary","Data":{"Offset":1,"text":{"Text":"Error","Length":5}}}]}