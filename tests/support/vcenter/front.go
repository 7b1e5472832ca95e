package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// front stands before the simulator: it counts calls, delays them, lets them fail, and pages the inventory.
type front struct {
	sync.Mutex
	sdk    http.Handler
	calls  map[string]int
	tokens map[string][]string
	pages  int
}

var (
	methodPattern = regexp.MustCompile(`<(?:\w+:)?Body[^>]*>\s*<(?:\w+:)?(\w+)`)
	thisPattern   = regexp.MustCompile(`<_this[^>]*type="(\w+)"[^>]*>([^<]*)<`)
	limitPattern  = regexp.MustCompile(`<maxObjects[^>]*>(\d+)</maxObjects>`)
	tokenPattern  = regexp.MustCompile(`<token[^>]*>([^<]*)</token>`)
	objectPattern = regexp.MustCompile(`(?s)<objects>.*?</objects>`)
)

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	method := "unknown"
	if found := methodPattern.FindSubmatch(body); found != nil {
		method = string(found[1])
	}
	f.Lock()
	f.calls[method]++
	f.Unlock()
	select {
	case <-time.After(settings.delay(method)):
	case <-r.Context().Done():
		return // who called gave up
	}
	fault := settings.takeFault(method)
	if fault == nil {
		fault = settings.missingPrivilege(method)
	}
	if fault != nil && !fault.After {
		f.fail(w, method, body, fault)
		return
	}
	reply := f.serve(r, method, body)
	if fault != nil {
		f.fail(w, method, body, fault)
		return
	}
	for name, values := range reply.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(reply.Code)
	_, _ = w.Write(f.shape(method, body, reply.Body.String()))
}

func (f *front) serve(r *http.Request, method string, body []byte) *httptest.ResponseRecorder {
	reply := httptest.NewRecorder()
	if method == "ContinueRetrievePropertiesEx" {
		return reply // the rest is here
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	world.Lock()
	defer world.Unlock()
	f.sdk.ServeHTTP(reply, r)
	return reply
}

// shape pages an inventory, and hides privileges that the login shall not have.
func (f *front) shape(method string, request []byte, reply string) []byte {
	switch method {
	case "RetrievePropertiesEx":
		if limit := pageSize(request); limit > 0 {
			return f.page(reply, objectPattern.FindAllString(reply, -1), limit)
		}
	case "ContinueRetrievePropertiesEx":
		token := string(tokenPattern.FindSubmatch(request)[1])
		f.Lock()
		objects, limit := f.tokens[token], pageSizeOf(token)
		delete(f.tokens, token)
		f.Unlock()
		return f.page(continuation, objects, limit)
	case "FetchUserPrivilegeOnEntities":
		for _, privilege := range settings.revoked() {
			reply = strings.ReplaceAll(reply, "<privileges>"+privilege+"</privileges>", "")
		}
	}
	return []byte(reply)
}

func (f *front) page(reply string, objects []string, limit int) []byte {
	if len(objects) == 0 {
		return []byte(reply)
	}
	shown, token := objects, ""
	if limit < len(objects) {
		shown = objects[:limit]
		f.Lock()
		f.pages++
		key := fmt.Sprintf("%d-%d", f.pages, limit)
		f.tokens[key] = objects[limit:]
		f.Unlock()
		token = "<token>" + key + "</token>"
	}
	head, tail, _ := strings.Cut(reply, "<returnval>")
	if end := strings.LastIndex(tail, "</returnval>"); end >= 0 {
		tail = tail[end:]
	}
	return []byte(head + "<returnval>" + token + strings.Join(shown, "") + tail)
}

func pageSize(request []byte) int {
	limit := settings.maxPage()
	if found := limitPattern.FindSubmatch(request); found != nil {
		if asked, _ := strconv.Atoi(string(found[1])); limit == 0 || asked < limit {
			limit = asked
		}
	}
	return limit
}

func pageSizeOf(token string) int {
	_, limit, _ := strings.Cut(token, "-")
	size, _ := strconv.Atoi(limit)
	return size
}

// fail ends the call as the fault says: a cut connection, a status of HTTP, a fault, or a task that fails.
func (f *front) fail(w http.ResponseWriter, method string, request []byte, fault *Fault) {
	switch {
	case fault.Cut:
		connection, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = connection.Close()
		}
	case fault.Status != 0:
		w.WriteHeader(fault.Status)
	case fault.InTask:
		world.Lock()
		defer world.Unlock()
		this := thisPattern.FindSubmatch(request)
		ref := types.ManagedObjectReference{Type: string(this[1]), Value: string(this[2])}
		task := simulator.CreateTask(ref, method, func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
			return nil, fault.object()
		})
		task.Run()
		simulator.Map.Update(task, []types.PropertyChange{{Name: "info.error.localizedMessage", Val: fault.Message}})
		fmt.Fprintf(w, taskReply, method, task.Self.Value, method)
	default:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, faultReply, fault.Message, fault.Name, fault.Name, fault.Fields, fault.Name)
	}
}

const (
	opening = `<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope ` +
		`xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" ` +
		`xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"><soapenv:Body>`
	closing    = `</soapenv:Body></soapenv:Envelope>`
	faultReply = opening + `<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>%s</faultstring>` +
		`<detail><%sFault xmlns="urn:vim25" xsi:type="%s">%s</%sFault></detail></soapenv:Fault>` + closing
	taskReply = opening + `<%sResponse xmlns="urn:vim25"><returnval type="Task">%s</returnval></%sResponse>` + closing
)

const continuation = opening + `<ContinueRetrievePropertiesExResponse xmlns="urn:vim25"><returnval></returnval>` +
	`</ContinueRetrievePropertiesExResponse>` + closing
