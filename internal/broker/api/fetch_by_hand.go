package api

import (
	"time"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// FetchByHand is a fetch of the newest version whose time is told and whose waits are its caller's, as package sim needs it: it has one
// goroutine for a whole cluster. What is read, what a session remembers and what is answered is as in Broker.fetch.
type FetchByHand struct {
	f   fetchCall
	err error
}

// FetchByHand begins a fetch and reads. It is ended by Answer, else its session stays taken. Quotas do not count.
func (b *Broker) FetchByHand(now time.Time, req *kmsg.FetchRequest) *FetchByHand {
	api := kmsg.ByKey(kmsg.KeyFetch)
	h := &FetchByHand{}
	if h.err = h.f.begin(b, &Call{broker: b, Conn: &Conn{}, Key: api.Key, Version: api.Max, Start: now}, req); h.err == nil {
		h.f.readAll()
	}
	return h
}

// Enough reads again what has changed, and says whether the answer is worth sending.
func (h *FetchByHand) Enough() bool {
	if h.err != nil {
		return true
	}
	h.f.readChanged()
	return h.f.enough()
}

// Answer ends the fetch; late says that it has waited for as long as it asked to. The caller releases the ranges of records.
func (h *FetchByHand) Answer(late bool) *kmsg.FetchResponse {
	if h.err != nil {
		resp := kmsg.NewFetchResponse()
		resp.ErrorCode = h.f.c.code(h.err)
		return &resp
	}
	if late {
		h.f.readAll()
	}
	resp := h.f.compose()
	h.f.told()
	return resp
}
