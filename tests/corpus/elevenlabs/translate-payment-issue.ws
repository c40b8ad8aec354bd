{"message_type":"payment_issue","error":"There is a problem with your payment."}
