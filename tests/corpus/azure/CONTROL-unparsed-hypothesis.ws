X-RequestId:5F8A1C2E3B7D4F60A1B2C3D4E5F60718
Content-Type:application/json; charset=utf-8
Path:speech.hypothesis

{"Text":"too many requests","Offset":1300000,"Duration":900000}