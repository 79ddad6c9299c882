package auth

// Principal is who a connection acts for. The zero value is Anonymous.
type Principal struct {
	Type string // UserType, where Kafka's default builder made it
	Name string
}

// UserType is the type of every principal that Kafka's default builder makes.
const UserType = "User"

// Anonymous is who did not authenticate.
var Anonymous = Principal{Type: UserType, Name: "ANONYMOUS"}

// String is the principal as access control entries and tools write it.
func (p Principal) String() string {
	p = p.OrAnonymous()
	return p.Type + ":" + p.Name
}

// OrAnonymous is p, or Anonymous in place of the zero value.
func (p Principal) OrAnonymous() Principal {
	if p == (Principal{}) {
		return Anonymous
	}
	return p
}
