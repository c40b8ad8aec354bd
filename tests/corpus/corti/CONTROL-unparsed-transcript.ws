{"type":"transcript","data":[{"id":"s1","transcript":"nothing wrong","final":true}]}
