package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"sync"
	"time"
)

var keyOf struct {
	sync.Mutex
	day string
	key []byte
}

func mac(key []byte, text string) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write([]byte(text))
	return hash.Sum(nil)
}

func dayKey(day string) []byte {
	keyOf.Lock()
	defer keyOf.Unlock()
	if keyOf.day != day {
		keyOf.day = day
		keyOf.key = mac(mac(mac(mac([]byte("AWS4"+os.Getenv("AWS_SECRET_ACCESS_KEY")), day), "us-east-1"), "s3"), "aws4_request")
	}
	return keyOf.key
}

// sign adds SigV4 with an unsigned payload. Queries here need no escaping and are sorted by those who write them.
func sign(request *http.Request) {
	stamp := time.Now().UTC().Format("20060102T150405Z")
	scope := stamp[:8] + "/us-east-1/s3/aws4_request"
	request.Header.Set("x-amz-date", stamp)
	request.Header.Set("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
	canonical := sha256.Sum256([]byte(request.Method + "\n" + request.URL.EscapedPath() + "\n" + request.URL.RawQuery +
		"\nhost:" + request.URL.Host + "\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:" + stamp +
		"\n\nhost;x-amz-content-sha256;x-amz-date\nUNSIGNED-PAYLOAD"))
	signature := mac(dayKey(stamp[:8]), "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hex.EncodeToString(canonical[:]))
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+os.Getenv("AWS_ACCESS_KEY_ID")+"/"+scope+
		", SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature="+hex.EncodeToString(signature))
}
