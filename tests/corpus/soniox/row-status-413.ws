{"tokens":[],"error_code":413,"error_message":"It was refused."}
