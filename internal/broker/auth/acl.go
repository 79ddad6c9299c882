package auth

import (
	"strings"

	"github.com/logstead/logstead/internal/cluster/meta"
)

// What an authorizer is asked about, in short words.
type (
	Resource  = meta.ACLResource
	Operation = meta.ACLOperation
)

// The resources.
const (
	Topic           = meta.ACLTopic
	Group           = meta.ACLGroup
	Cluster         = meta.ACLCluster
	TransactionalID = meta.ACLTransactionalID
	DelegationToken = meta.ACLDelegationToken
	User            = meta.ACLUser
)

// ClusterName is the name of the one cluster resource.
const ClusterName = meta.ACLClusterName

// The operations.
const (
	Read            = meta.ACLRead
	Write           = meta.ACLWrite
	Create          = meta.ACLCreate
	Delete          = meta.ACLDelete
	Alter           = meta.ACLAlter
	Describe        = meta.ACLDescribe
	ClusterAction   = meta.ACLClusterAction
	DescribeConfigs = meta.ACLDescribeConfigs
	AlterConfigs    = meta.ACLAlterConfigs
	IdempotentWrite = meta.ACLIdempotentWrite
	CreateTokens    = meta.ACLCreateTokens
	DescribeTokens  = meta.ACLDescribeTokens
)

// Operations are those that a resource knows, in the order of their numbers.
func Operations(r Resource) []Operation {
	switch r {
	case Topic:
		return []Operation{Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs}
	case Group:
		return []Operation{Read, Delete, Describe, DescribeConfigs, AlterConfigs}
	case Cluster:
		return []Operation{Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite}
	case TransactionalID:
		return []Operation{Write, Describe}
	case DelegationToken:
		return []Operation{Describe}
	case User:
		return []Operation{CreateTokens, DescribeTokens}
	}
	return nil
}

// everybody is the principal of entries that hold for all.
var everybody = Principal{Type: UserType, Name: "*"}

// ParsePrincipal reads type:name; ok is false without a colon.
func ParsePrincipal(s string) (p Principal, ok bool) {
	p.Type, p.Name, ok = strings.Cut(s, ":")
	return p, ok
}

// given is what an entry must give for an operation to be allowed: itself, all, or one that implies it. What is denied
// implies nothing.
func given(op Operation) uint32 {
	bits := bit(op) | bit(meta.ACLAll)
	switch op {
	case Describe:
		bits |= bit(Read) | bit(Write) | bit(Delete) | bit(Alter)
	case DescribeConfigs:
		bits |= bit(AlterConfigs)
	}
	return bits
}

func bit(op Operation) uint32 { return 1 << uint(op) }
