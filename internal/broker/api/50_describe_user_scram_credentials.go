package api

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/broker/auth"
	"github.com/logstead/logstead/internal/cluster/meta"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// DescribeUserScramCredentials (key 50), version 0.
//
// Null or no users mean all. A user without credentials is RESOURCE_NOT_FOUND, one named twice
// DUPLICATE_RESOURCE. Of a credential only mechanism and iterations are told.
var _ = register(kmsg.KeyDescribeUserScramCredentials, (*Broker).describeScram)

type (
	scramResult = kmsg.DescribeUserScramCredentialsResponseDescribeUserScramCredentialsResult
	scramInfo   = kmsg.DescribeUserScramCredentialsResponseCredentialInfo
)

func (b *Broker) describeScram(c *Call, req *kmsg.DescribeUserScramCredentialsRequest) {
	resp := kmsg.NewDescribeUserScramCredentialsResponse()
	if !c.mayCluster(auth.Describe) {
		err := unauthorized(auth.Cluster)
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		for range req.Users {
			res := newScramResult("", nil)
			res.ErrorCode, res.ErrorMessage = resp.ErrorCode, resp.ErrorMessage
			resp.Results = append(resp.Results, res)
		}
		c.Reply(&resp)
		return
	}
	known := scramByUser(b.Image())
	if len(req.Users) == 0 {
		for _, user := range slices.Sorted(maps.Keys(known)) {
			resp.Results = append(resp.Results, newScramResult(user, known[user]))
		}
		c.Reply(&resp)
		return
	}
	times := map[string]int{}
	for _, u := range req.Users {
		times[u.Name]++
	}
	for _, user := range slices.Sorted(maps.Keys(times)) {
		res := newScramResult(user, known[user])
		var err error
		switch {
		case times[user] > 1:
			err = refuse(kerr.DuplicateResource, "user %s is twice in the request, want it once", user)
		case known[user] == nil:
			err = refuse(kerr.ResourceNotFound, "user %s has no SCRAM credentials", user)
		}
		if err != nil {
			res.ErrorCode, res.ErrorMessage, res.CredentialInfos = c.code(err), message(err), nil
		}
		resp.Results = append(resp.Results, res)
	}
	c.Reply(&resp)
}

func newScramResult(user string, infos []scramInfo) scramResult {
	res := kmsg.NewDescribeUserScramCredentialsResponseDescribeUserScramCredentialsResult()
	res.User, res.CredentialInfos = user, infos
	return res
}

// scramByUser lists every user's credentials by mechanism.
func scramByUser(im *meta.Image) map[string][]scramInfo {
	known := map[string][]scramInfo{}
	for k, s := range im.Scrams() {
		known[k.User] = append(known[k.User], scramInfo{Mechanism: k.Mechanism, Iterations: s.Iterations})
	}
	for _, infos := range known {
		slices.SortFunc(infos, func(x, y scramInfo) int { return int(x.Mechanism) - int(y.Mechanism) })
	}
	return known
}
