{"errorMessage":"Internal server error","errorCode":500}
