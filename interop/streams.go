package main

import (
	"context"
	"errors"
	"time"
)

// streams runs the Kafka Streams application in java/Streams.java, with the group protocol it has always had.
func streams(ctx context.Context, r *Run) {
	r.check(ctx, "kafka-streams", "windows and a join, exactly_once_v2", 4*time.Minute, func(ctx context.Context) error {
		out, err := r.exec(ctx, 4*time.Minute, r.bootstrapEnv(), r.java("Streams", r.id+"-streams", "classic")...)
		return errors.Join(err, contains(out, "streams ok"))
	})
}
