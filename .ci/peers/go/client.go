// client PORT COUNT: sends so many numbered records one by one, each answered before the next, by
// the library that Docker's engine uses, with the settings of Docker's `fluentd-request-ack`.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
)

func main() {
	port, count := number(os.Args[1]), number(os.Args[2])
	client, err := fluent.New(fluent.Config{
		FluentHost:         "127.0.0.1",
		FluentPort:         port,
		RequestAck:         true,
		SubSecondPrecision: true,
		ReadTimeout:        20 * time.Second,
		RetryWait:          50,
		MaxRetryWait:       200,
		MaxRetry:           1000,
	})
	if err != nil {
		log.Fatal(err)
	}
	for at := 0; at < count; at++ {
		record := map[string]string{"log": fmt.Sprintf("line %d", at), "source": "stdout"}
		if err := client.PostWithTime("web", time.Now(), record); err != nil {
			log.Fatalf("line %d: %v", at, err)
		}
	}
	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		log.Fatal(err)
	}
	return value
}
