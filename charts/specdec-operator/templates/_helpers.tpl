{{- define "specdec-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "specdec-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "specdec-operator.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "specdec-operator.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "specdec-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "specdec-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name must be set when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* What selects this release's pods of one component: (dict "root" $ "component" "operator"). Never changes. */}}
{{- define "specdec-operator.selector" -}}
app.kubernetes.io/name: {{ include "specdec-operator.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "specdec-operator.labels" -}}
{{ include "specdec-operator.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "specdec-operator.image" -}}
{{- include "specdec-operator.reference" (dict "root" . "repository" (include "specdec-operator.repository" .) "image" .Values.image) }}
{{- end }}

{{- define "specdec-operator.repository" -}}
{{- required "image.repository is empty, and nobody publishes the operator's image: build and push it as docs/quickstart.md says, then add --set image.repository=REGISTRY/specdec/operator" .Values.image.repository }}
{{- end }}

{{/* An image that is built and pushed together with the operator's: (dict "root" $ "name" "simulator" "image" .Values.test.simulator) */}}
{{- define "specdec-operator.siblingImage" -}}
{{- $beside := list (include "specdec-operator.repository" .root | dir) .name | join "/" | trimPrefix "./" }}
{{- include "specdec-operator.reference" (dict "root" .root "repository" (default $beside .image.repository) "image" .image) }}
{{- end }}

{{/* (dict "root" $ "repository" .. "image" (its tag and digest)). The digest wins over the tag. */}}
{{- define "specdec-operator.reference" -}}
{{- if .image.digest }}
{{- printf "%s@%s" .repository .image.digest }}
{{- else }}
{{- printf "%s:%s" .repository (coalesce .image.tag .root.Values.image.tag .root.Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* The two security contexts of every pod here: what the `restricted` pod security standard asks, and a read-only root. */}}
{{- define "specdec-operator.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "specdec-operator.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The namespaces that the operator serves, as a JSON list; empty for the whole cluster. */}}
{{- define "specdec-operator.namespaces" -}}
{{- .Values.watchNamespaces | uniq | sortAlpha | toJson }}
{{- end }}

{{/* A namespace in which the operator serves resources: the release's own where it is served, else the first of the list. */}}
{{- define "specdec-operator.servedNamespace" -}}
{{- if or (empty .Values.watchNamespaces) (has .Release.Namespace .Values.watchNamespaces) }}
{{- .Release.Namespace }}
{{- else }}
{{- first .Values.watchNamespaces }}
{{- end }}
{{- end }}

{{/* What every engine pod of the operator carries (specdec.desired sets it). */}}
{{- define "specdec-operator.engineSelector" -}}
app.kubernetes.io/name: specdec-engine
{{- end }}

{{/* OpenShift's name servers listen on 5353, and a policy sees the port of the pod behind the Service. */}}
{{- define "specdec-operator.dnsEgress" -}}
- ports:
    {{- range $port := list 53 5353 }}
    {{- range list "UDP" "TCP" }}
    - port: {{ $port }}
      protocol: {{ . }}
    {{- end }}
    {{- end }}
{{- end }}

{{/* Annotations of an object that only `helm test` makes; the argument is its place in the order. */}}
{{- define "specdec-operator.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
