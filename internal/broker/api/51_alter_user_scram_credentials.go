package api

import (
	"maps"
	"slices"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// AlterUserScramCredentials (key 51), version 0.
//
// Each user succeeds or fails as a whole. Passwords arrive salted; only keys made from them are kept.
var _ = register(kmsg.KeyAlterUserScramCredentials, (*Broker).alterScram)

func (b *Broker) alterScram(c *Call, req *kmsg.AlterUserScramCredentialsRequest) {
	failed := func(e itemError) *kmsg.AlterUserScramCredentialsResponse {
		resp := kmsg.NewAlterUserScramCredentialsResponse()
		users := map[string]bool{}
		for _, d := range req.Deletions {
			users[d.Name] = true
		}
		for _, u := range req.Upsertions {
			users[u.Name] = true
		}
		for _, user := range slices.Sorted(maps.Keys(users)) {
			resp.Results = append(resp.Results, kmsg.AlterUserScramCredentialsResponseAlterUserScramCredentialsResult{
				User: user, ErrorCode: e.code, ErrorMessage: e.text,
			})
		}
		return &resp
	}
	decideAs(c, auth.Alter, func(m *controller.Machine) ([]kmsg.Record, *kmsg.AlterUserScramCredentialsResponse) {
		return m.AlterUserScramCredentials(req)
	}, failed)
}
