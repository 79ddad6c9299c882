package peer

import (
	"bytes"
	"testing"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

func TestEnvelopeResponse(t *testing.T) {
	for _, want := range []int64{-1, 0, 1 << 40} {
		out := EnvelopeResponse{EndOffset: want}
		out.ResponseData, out.ErrorCode = []byte("the answer"), 41
		w := &kmsg.Writer{}
		out.Append(w, 0)
		var plain kmsg.EnvelopeResponse
		r := kmsg.NewReader(w.Buf)
		if err := plain.Read(&r, 0); err != nil || len(r.Rest()) != 0 {
			t.Fatalf("as Kafka reads it: %v, %d bytes left", err, len(r.Rest()))
		}
		var in EnvelopeResponse
		r = kmsg.NewReader(w.Buf)
		if err := in.Read(&r, 0); err != nil {
			t.Fatal(err)
		}
		if in.EndOffset != want || !bytes.Equal(in.ResponseData, out.ResponseData) || in.ErrorCode != 41 {
			t.Errorf("read %+v, want end offset %d", in, want)
		}
	}
}
