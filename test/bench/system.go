package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Where everybody is.
const (
	proxyAddress = "127.0.0.1:5060"
	roomAddress  = "127.0.0.1:5070"
	ngAddress    = "127.0.0.1:2223"
)

//go:embed kamailio.cfg
var kamailioConfig string

//go:embed kamailio-routes.cfg
var kamailioRoutes string

// kamailioOver are the lines of Kamailio's configuration for a transport; what it reads from a stream it reads in as many processes as from a socket.
var kamailioOver = map[string]string{
	"udp": "disable_tcp=yes\nlisten=udp:@PROXY@\nudp4_raw=0\n",
	"tcp": "tcp_children=@CHILDREN@\ntcp_connection_lifetime=3600\nlisten=tcp:@PROXY@\n",
	"tls": "tcp_children=@CHILDREN@\ntcp_connection_lifetime=3600\nenable_tls=yes\nlisten=tls:@PROXY@\nloadmodule \"tls.so\"\nmodparam(\"tls\", \"config\", \"@DIR@/tls.cfg\")\n",
}

// kamailioTLS has it show its certificate, ask for the other's and check it, as a trunk does and as nines does.
const kamailioTLS = `[server:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = yes
private_key = @CERTS@/tls.key
certificate = @CERTS@/tls.pem
ca_list = @CERTS@/ca.pem
[client:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = yes
private_key = @CERTS@/tls.key
certificate = @CERTS@/tls.pem
ca_list = @CERTS@/ca.pem
`

//go:embed nines.yaml
var ninesConfig string

// system is something that is measured: one or more programs that relay calls.
type system struct {
	name      string
	address   string
	strangers bool // it takes everybody's calls
	// commands writes what the programs need into a seat's folder and returns their command lines by name, in the order to start them.
	commands func(seat) ([]command, error)
	programs []*program
}

// seat is where a system is started: a folder, how SIP goes there, and where the certificates are.
type seat struct{ dir, transport, certs string }

// network is what a transport is to the kernel.
func (s seat) network() string {
	if s.transport == "udp" {
		return "udp"
	}
	return "tcp"
}

// command is a program to start and the port that it opens when it is ready.
type command struct {
	name    string
	args    []string
	network string
	port    string
}

type program struct {
	name string
	cmd  *exec.Cmd
	said *bytes.Buffer
}

func newKamailio(children int) *system {
	return &system{
		name: "Kamailio + rtpengine", address: proxyAddress, strangers: true,
		commands: func(at seat) ([]command, error) {
			dir := at.dir
			if _, err := at.fill("dispatcher.list", "1 sip:@ROOM@;transport=@TRANSPORT@\n"); err != nil {
				return nil, err
			}
			if _, err := at.fill("tls.cfg", kamailioTLS); err != nil {
				return nil, err
			}
			config, err := at.fill("kamailio.cfg", kamailioConfig+kamailioOver[at.transport]+kamailioRoutes, "@CHILDREN@", strconv.Itoa(children))
			if err != nil {
				return nil, err
			}
			return []command{
				{"rtpengine", []string{
					"rtpengine", "--foreground", "--table=-1", "--interface=127.0.0.1", "--listen-ng=" + ngAddress, "--port-min=20000", "--port-max=29999",
					"--num-threads=1", "--log-level=1", "--log-stderr", "--delete-delay=0", "--pidfile=" + filepath.Join(dir, "rtpengine.pid"),
				}, "udp", ngAddress},
				// fm, the fast allocator; the default one (qm) doubles the cost.
				{"kamailio", []string{"kamailio", "-DD", "-x", "fm", "-X", "fm", "-m", "512", "-M", "16", "-f", config, "-Y", dir, "-P", filepath.Join(dir, "kamailio.pid")}, at.network(), proxyAddress},
			}, nil
		},
	}
}

// ninesOf is nines as it is, or nines without a book, with one, and with messages in it.
func ninesOf(binary string, book bool) []*system {
	if !book {
		return []*system{newNines("nines", binary, "emergency")}
	}
	return []*system{newNines("without a book", binary, "none", "--no-book"), newNines("with it", binary, "none"), newNines("and messages", binary, "emergency")}
}

func newNines(name, binary, messages string, args ...string) *system {
	return &system{
		name: name, address: proxyAddress,
		commands: func(at seat) ([]command, error) {
			config, err := at.fill("nines.yaml", ninesConfig, "@MESSAGES@", messages)
			if err != nil {
				return nil, err
			}
			return []command{{"nines", append([]string{binary, "run", "--log-level", "error", "--config", config}, args...), at.network(), proxyAddress}}, nil
		},
	}
}

// fill writes a template with the addresses and further pairs put in.
func (s seat) fill(name, template string, pairs ...string) (string, error) {
	pairs = append(pairs, "@DIR@", s.dir, "@PROXY@", proxyAddress, "@ROOM@", roomAddress, "@NG@", ngAddress, "@TRANSPORT@", s.transport, "@CERTS@", s.certs)
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(strings.NewReplacer(pairs...).Replace(template)), 0o644)
}

// start starts the system's programs on their core, to speak SIP over a transport, and waits until they listen.
func (s *system) start(b *bench, transport string) error {
	dir, err := os.MkdirTemp(b.dir, "sut")
	if err != nil {
		return err
	}
	commands, err := s.commands(seat{dir, transport, b.identity.dir})
	if err != nil {
		return err
	}
	for _, c := range commands {
		p, err := startProgram(b.coreSUT, dir, c.name, c.args)
		if err != nil {
			return err
		}
		s.programs = append(s.programs, p)
		if err := p.listens(c.network, c.port); err != nil {
			return err
		}
	}
	return nil
}

func startProgram(core, dir, name string, args []string) (*program, error) {
	p := &program{name: name, said: &bytes.Buffer{}}
	p.cmd = exec.Command("taskset", append([]string{"-c", core}, args...)...)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	favour(p.cmd.Process.Pid)
	return p, nil
}

// favour puts a process before what else runs on the machine, as far as we may. With autogroups a session is weighed as a whole.
func favour(pid int) {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte("-15"), 0)
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, -15)
}

// listens waits until somebody has the port.
func (p *program) listens(network, address string) error {
	_, port, _ := strings.Cut(address, ":")
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	for range 200 {
		sockets, err := os.ReadFile("/proc/net/" + network)
		if err != nil {
			return err
		}
		if isOpen(string(sockets), n) {
			return nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	p.stop()
	return fmt.Errorf("%s does not listen on %s: %s", p.name, address, p.said)
}

// isOpen looks for a socket that waits on a port: of UDP (state 07) or TCP (0A).
func isOpen(sockets string, port int) bool {
	suffix := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(sockets) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.HasSuffix(f[1], suffix) && (f[3] == "07" || f[3] == "0A") {
			return true
		}
	}
	return false
}

// stop ends the program, its children too, and waits.
func (p *program) stop() {
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	timer := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
	_ = p.cmd.Wait()
	timer.Stop()
	_ = syscall.Kill(group, syscall.SIGKILL)
}

func (s *system) stop() {
	for i := len(s.programs) - 1; i >= 0; i-- {
		s.programs[i].stop()
	}
	s.programs = nil
}

// said is the end of what its programs have said.
func (s *system) said() string {
	var all strings.Builder
	for _, p := range s.programs {
		all.WriteString(tail(p.said.String()))
	}
	return all.String()
}

// usage is CPU time by program.
type usage map[string]time.Duration

func (u usage) minus(before usage) usage {
	d := usage{}
	for name, t := range u {
		d[name] = t - before[name]
	}
	return d
}

func (u usage) total() time.Duration {
	var sum time.Duration
	for _, t := range u {
		sum += t
	}
	return sum
}

// cpu is user + system time of all the system's processes.
func (s *system) cpu() usage {
	u := usage{}
	children := children()
	for _, p := range s.programs {
		for _, pid := range family(p.cmd.Process.Pid, children) {
			u[p.name] += cpuOf(pid)
		}
	}
	return u
}

// pss is the memory of all the system's processes in bytes, shared pages divided among those who share them.
func (s *system) pss() int {
	sum := 0
	children := children()
	for _, p := range s.programs {
		for _, pid := range family(p.cmd.Process.Pid, children) {
			sum += pssOf(pid)
		}
	}
	return sum
}

func family(pid int, children map[int][]int) []int {
	all := []int{pid}
	for _, c := range children[pid] {
		all = append(all, family(c, children)...)
	}
	return all
}

func children() map[int][]int {
	m := map[int][]int{}
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if fields, err2 := statFields(pid); err == nil && err2 == nil {
			parent, _ := strconv.Atoi(fields[1])
			m[parent] = append(m[parent], pid)
		}
	}
	return m
}

// statFields are the fields of /proc/PID/stat from the state on.
func statFields(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	i := bytes.LastIndexByte(text, ')') // the name may hold blanks
	fields := strings.Fields(string(text[i+1:]))
	if len(fields) < 13 {
		return nil, errors.New("short stat")
	}
	return fields, nil
}

func cpuOf(pid int) time.Duration {
	fields, err := statFields(pid)
	if err != nil {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * (time.Second / 100) // USER_HZ
}

func pssOf(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "Pss:" {
			kb, _ := strconv.Atoi(f[1])
			return kb << 10
		}
	}
	return 0
}
