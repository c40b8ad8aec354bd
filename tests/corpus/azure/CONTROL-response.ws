X-RequestId:1A
Content-Type:application/json; charset=utf-8
Path:response

{"context":{"serviceTag":"error","error":null},"audio":{"type":"inline"}}