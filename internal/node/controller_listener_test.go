package node

import (
	"encoding/hex"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/peer"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// TestControllerListener asks the controllers' listener for what it serves, and has it serve a request
// in an envelope.
func TestControllerListener(t *testing.T) {
	n := start(t, "", "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0")
	c := peer.New(peer.Options{
		ClientID: "test", Address: func() (string, error) { return n.controllerListeners[0].Addr().String(), nil },
	})
	defer c.Close()
	ctx := deadline(t)
	if _, err := c.Version(ctx, kmsg.KeyProduce); err == nil {
		t.Error("Produce is served on the controllers' listener")
	}
	if _, err := c.Version(ctx, kmsg.KeyEnvelope); err != nil {
		t.Error(err)
	}
	create := kmsg.NewCreateTopicsRequest()
	create.TimeoutMs = 60_000
	create.Topics = []kmsg.CreateTopicsRequestCreatableTopic{{Name: "t", NumPartitions: 2, ReplicationFactor: 1}}
	w := &kmsg.Writer{}
	h := kmsg.NewRequestHeader()
	id := "client"
	h.RequestApiKey, h.RequestApiVersion, h.CorrelationId, h.ClientId = kmsg.KeyCreateTopics, 7, 77, &id
	h.Append(w, 2)
	create.Append(w, 7)
	env := kmsg.NewEnvelopeRequest()
	env.RequestData, env.ClientHostAddress = w.Buf, []byte{127, 0, 0, 1}
	resp, err := peer.Request[peer.EnvelopeResponse](ctx, c, &env)
	if err != nil || resp.ErrorCode != 0 {
		t.Fatalf("answer %+v, error %v", resp, err)
	}
	if resp.EndOffset != n.ctl.EndOffset() {
		t.Errorf("the metadata is said to end at %d, want %d", resp.EndOffset, n.ctl.EndOffset())
	}
	r := kmsg.NewReader(resp.ResponseData)
	var rh kmsg.ResponseHeader
	if err := rh.Read(&r, 1); err != nil || rh.CorrelationId != 77 {
		t.Fatalf("header %+v, error %v", rh, err)
	}
	var created kmsg.CreateTopicsResponse
	r = kmsg.NewReader(r.Rest())
	if err := created.Read(&r, 7); err != nil || created.Topics[0].ErrorCode != 0 {
		t.Fatalf("created %+v, error %v", created, err)
	}
	if n.image().Topic("t") == nil {
		t.Error("the topic does not exist")
	}
	env.RequestData, err = hex.DecodeString("0000000d00000001ffff00") // Produce
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = peer.Request[peer.EnvelopeResponse](ctx, c, &env); err != nil || resp.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("an envelope with what controllers do not serve: answer %+v, error %v", resp, err)
	}
}
