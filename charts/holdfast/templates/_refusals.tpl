{{/*
Values that cannot work are refused here, each with a sentence that says what to do. What is only
of a wrong type, or misspelt, is refused by values.schema.json before.
*/}}
{{- define "holdfast.refusals" -}}
{{- range $path, $sentence := .Files.Get "files/removed-keys.yaml" | fromYaml -}}
{{- include "holdfast.refuseKey" (dict "value" $.Values "rest" (splitList "." $path) "at" "" "sentence" $sentence) -}}
{{- end -}}
{{- include "holdfast.refuseStore" . -}}
{{- include "holdfast.refuseGateway" . -}}
{{- include "holdfast.refuseNames" . -}}
{{- include "holdfast.refuseSecurity" . -}}
{{- $owners := dict -}}
{{- range $name, $group := include "holdfast.workerGroups" . | fromJson -}}
{{- include "holdfast.refuseGroup" (dict "root" $ "name" $name "group" $group "where" (printf "workerGroups.%s" $name) "owners" $owners) -}}
{{- end -}}
{{- end -}}

{{/* Fail if a value is there: (dict "value" map "rest" path "at" "" "sentence" ""). */}}
{{- define "holdfast.refuseKey" -}}
{{- if kindIs "map" .value -}}
{{- range $name, $value := .value -}}
{{- if or (eq (first $.rest) "*") (eq (first $.rest) $name) -}}
{{- $at := printf "%s.%s" $.at $name | trimPrefix "." -}}
{{- if rest $.rest -}}
{{- include "holdfast.refuseKey" (dict "value" $value "rest" (rest $.rest) "at" $at "sentence" $.sentence) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- fail (printf "This chart has no value %s: %s" $at $.sentence) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.refuseStore" -}}
{{- $store := .Values.store -}}
{{- if and (gt (int $store.replicas) 1) (not $store.database.existingSecret) -}}
{{- fail (printf "store.replicas is %d, but a SQLite store has one owner: set store.database.existingSecret to the Secret with the URL of a database that several stores can share, or store.replicas to 1." (int $store.replicas)) -}}
{{- end -}}
{{- if and $store.persistence.existingClaim $store.database.existingSecret -}}
{{- fail "store.persistence.existingClaim is for SQLite and store.database.existingSecret for another database: remove one of them." -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.refuseGateway" -}}
{{- $gateway := .Values.gateway -}}
{{- if and $gateway.ingress.enabled (not $gateway.ingress.hosts) -}}
{{- fail "gateway.ingress is enabled without a host: add one to gateway.ingress.hosts, such as {host: holdfast.example.com}." -}}
{{- end -}}
{{- if and $gateway.httpRoute.enabled (not $gateway.httpRoute.parentRefs) -}}
{{- fail "gateway.httpRoute is enabled, but hangs on no Gateway: add one to gateway.httpRoute.parentRefs, such as {name: public, namespace: gateways}." -}}
{{- end -}}
{{- end -}}

{{/* Names that cannot be, or that two objects would share. */}}
{{- define "holdfast.refuseNames" -}}
{{- $taken := list "store" "store-headless" "gateway" "gateway-metrics" "operator" "migrate" "contract" "test" "worker" "default-deny" -}}
{{- range $name, $group := .Values.workerGroups -}}
{{- if has $name $taken -}}
{{- fail (printf "workerGroups.%s would have the name of another object of this chart: give the group another name in the map, and keep the store's name of it in `groups: [%s]`." $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.refuseGroup" -}}
{{- $scale := .group.autoscaling -}}
{{- if gt (int $scale.min) (int $scale.max) -}}
{{- fail (printf "%s.autoscaling.min is %d and max is %d: raise max or lower min." .where (int $scale.min) (int $scale.max)) -}}
{{- end -}}
{{- if eq .group.program "db" -}}
{{- include "holdfast.refuseDbGroup" . -}}
{{- else -}}
{{- include "holdfast.refuseWorkflowGroup" . -}}
{{- end -}}
{{- include "holdfast.refuseGroups" . -}}
{{- end -}}

{{- define "holdfast.refuseDbGroup" -}}
{{- if .group.modules -}}
{{- fail (printf "%s.modules are for the program worker, and this group runs db: remove them, or set program to worker." .where) -}}
{{- end -}}
{{- if include "holdfast.hasOwnVolume" .group -}}
{{- if gt (int .group.autoscaling.max) 1 -}}
{{- fail (printf "%s.autoscaling.max is %d, but without an application database of its own the group keeps a SQLite file, which one pod can use: set %s.database.existingSecret to the Secret with the database's URL, or max to 1." .where (int .group.autoscaling.max) .where) -}}
{{- end -}}
{{- if eq .group.autoscaling.mode "External" -}}
{{- fail (printf "%s.autoscaling.mode is External, so nothing would keep the group at the one pod that can use its SQLite file: set %s.database.existingSecret to the Secret with the database's URL, or mode to Operator." .where .where) -}}
{{- end -}}
{{- else if .group.persistence.existingClaim -}}
{{- fail (printf "%s.persistence.existingClaim is for SQLite and database.existingSecret for another database: remove one of them." .where) -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.refuseWorkflowGroup" -}}
{{- if not .group.modules -}}
{{- fail (printf "%s.modules is empty, so its pods would have nothing to run: name the modules that register your workflows, such as holdfast_worker.apps.orders." .where) -}}
{{- end -}}
{{- if .group.database.existingSecret -}}
{{- fail (printf "%s.database is for the program db, the only one that may reach the application database: remove it, or set program to db." .where) -}}
{{- end -}}
{{- end -}}

{{/* A process joins one group; those of `workers` join `worker` as well. */}}
{{- define "holdfast.refuseGroups" -}}
{{- $joined := list (first .group.groups) -}}
{{- if and (eq .group.program "worker") (eq (first .group.groups) "workers") -}}
{{- $joined = list "workers" "worker" -}}
{{- end -}}
{{- if ne (toJson .group.groups) (toJson $joined) -}}
{{- fail (printf "%s.groups is %s, but its pods would join %s: name that, and make another worker group for each further name." .where (toJson .group.groups) (toJson $joined)) -}}
{{- end -}}
{{- if and .root.Values.operator.enabled (eq .group.autoscaling.mode "Operator") -}}
{{- $name := .name -}}
{{- $owners := .owners -}}
{{- range .group.groups -}}
{{- with get $owners . -}}
{{- fail (printf "workerGroups.%s and workerGroups.%s both work on the queue of the same store group, and each would be scaled for all of it: give one of them autoscaling.mode Manual or External." . $name) -}}
{{- end -}}
{{- $_ := set $owners . $name -}}
{{- end -}}
{{- end -}}
{{- end -}}
