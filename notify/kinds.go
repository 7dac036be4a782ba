package notify

// Code names a kind of notice. Codes are a contract: receivers sort by them.
type Code string

// The codes.
const (
	RoomDown      Code = "room-down"
	Diverted      Code = "calls-diverted"
	AtPartners    Code = "calls-at-partners"
	Unanswered    Code = "calls-unanswered"
	CallersLost   Code = "callers-lost"
	PartnerDown   Code = "partner-down"
	SelfSuspected Code = "self-suspected"
	HoldEnds      Code = "hold-ends"
	HoldEnded     Code = "hold-ended"
	TreatEnds     Code = "treat-ends"
	NumberFails   Code = "number-fails"
	AudioMissing  Code = "audio-missing"
	NotReached    Code = "perhaps-not-reached"
	StrangerCalls Code = "stranger-calls"
	ConfigRefused Code = "config-refused"
	CertExpires   Code = "certificate-expires"
	CertExpired   Code = "certificate-expired"
	StateUnkept   Code = "state-unkept"
	DiskFull      Code = "disk-full"
	BookLoses     Code = "book-loses"
	NoPorts       Code = "no-ports"
	Fault         Code = "fault"
	ReceiverDead  Code = "receiver-dead"
	Abandoned     Code = "abandoned-call"
	Trial         Code = "trial"
)

// Kind is what is the same for all notices of a code. It is declared here once; docs/OPERATIONS.md says the same, and a test compares the two.
type Kind struct {
	Code     Code
	Severity Severity
	Title    string // what happened, in a few words
	Do       string // what to do about it
}

// kinds in the order of the page.
var kinds = []Kind{
	{RoomDown, Warning, "a room is down", "read its evidence with nines status ROOM and mend it; calls go to the next room meanwhile"},
	{Diverted, Critical, "emergency calls are answered elsewhere", "find out why the first room does not answer; tell who answers now; publish the text for the public if it will last"},
	{AtPartners, Critical, "partners answer our emergency calls", "ring the partners and agree on the hand-over; mend an own room first; publish the text for the public"},
	{CallersLost, Critical, "callers were lost while they talked", "ring them back: nines callbacks, or the carrier's records by call_id"},
	{Unanswered, Critical, "emergency calls were not answered", "get somebody to pick up anywhere; ring the carrier, which has these calls back; ring back who is on the call-back list"},
	{PartnerDown, Warning, "a partner cannot be reached", "ring the partner; mutual aid is thinner until it is back"},
	{SelfSuspected, Critical, "everything is silent at once: we suspect ourselves", "look at this machine's network, its switch and its firewall; nothing is moved on such evidence"},
	{HoldEnds, Warning, "a hold ends soon", "hold it again if the work is not done, or release it"},
	{HoldEnded, Info, "a hold has ended by itself", "nothing if the work is done; the room earns its calls back"},
	{TreatEnds, Warning, "a route will soon be routine again", "order it again if it is still needed: nines treat; else its callers may get the announcement again"},
	{NumberFails, Warning, "a room fails for one number", "look at that number's routing in the room's PBX"},
	{AudioMissing, Warning, "a call had no audio from its room", "call the room and listen; look at the media path and at SDP addresses"},
	{NotReached, Warning, "callers clear soon after a queue's answer", "ask the room whether its queue is served"},
	{StrangerCalls, Warning, "an unknown source calls an emergency number", "ask the carrier whether it has a new address; add it to the trunk's from and reload"},
	{ConfigRefused, Warning, "the configuration was refused", "nines check FILE names every problem; the configuration of before runs on"},
	{CertExpires, Warning, "a certificate ends soon", "put a new one in its place"},
	{CertExpired, Critical, "a certificate has expired", "put a new one in its place; emergency calls go on without it where they may"},
	{StateUnkept, Warning, "holds, orders for routes, call-backs or notices cannot be written down", "mend the state folder: full, read-only or hanging; a restart would forget what is not written"},
	{DiskFull, Warning, "a disk is nearly full", "make room in the folder that is named; calls go on without it"},
	{BookLoses, Warning, "the book loses entries", "look at the disk under the journal; calls go on, the record has a gap that says so"},
	{NoPorts, Critical, "media ports are used up", "widen media.ports and restart when few calls talk"},
	{Fault, Warning, "a fault of ours", "keep the log and tell the makers; calls go on"},
	{ReceiverDead, Warning, "a receiver of notices takes none", "look at the receiver that is named; others are told meanwhile"},
	{Abandoned, Info, "an emergency call was abandoned before an answer", "ring the caller back"},
	{Trial, Info, "a trial of the notices", "nothing: somebody wanted to see whether notices arrive"},
}

// Kinds lists every kind of notice.
func Kinds() []Kind { return kinds }

// Kind finds what is known of a code.
func (c Code) Kind() Kind {
	for _, k := range kinds {
		if k.Code == c {
			return k
		}
	}
	return Kind{Code: c, Severity: Warning, Title: string(c), Do: "see the log"}
}
