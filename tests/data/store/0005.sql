BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0005');
CREATE TABLE attempts (
	id INTEGER NOT NULL, 
	delivery VARCHAR(36) NOT NULL, 
	at FLOAT NOT NULL, 
	status INTEGER, 
	error VARCHAR(512), 
	seconds FLOAT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(delivery) REFERENCES deliveries (id) ON DELETE CASCADE
);
CREATE TABLE "datasets" (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	created_at FLOAT NOT NULL, 
	inputs JSON NOT NULL, 
	labels JSON, 
	tenant VARCHAR(64) DEFAULT '' NOT NULL, 
	CONSTRAINT datasets_pkey PRIMARY KEY (tenant, id)
);
CREATE TABLE deliveries (
	id VARCHAR(36) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	job VARCHAR(36) NOT NULL, 
	url VARCHAR(2048) NOT NULL, 
	type VARCHAR(32) NOT NULL, 
	facts JSON NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	tries INTEGER NOT NULL, 
	next_at FLOAT NOT NULL, 
	lease_until FLOAT, 
	created_at FLOAT NOT NULL, 
	delivered_at FLOAT, 
	PRIMARY KEY (id)
);
CREATE TABLE events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job VARCHAR(36) NOT NULL, 
	at FLOAT NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	data JSON NOT NULL, 
	FOREIGN KEY(job) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "events" VALUES(1,'145818a4-611d-4bdf-993f-76c63e2da9ba',1.7953006907239928246e+09,'status','{"status":"queued"}');
INSERT INTO "events" VALUES(2,'145818a4-611d-4bdf-993f-76c63e2da9ba',1.79530069073698806758e+09,'status','{"status":"running"}');
INSERT INTO "events" VALUES(3,'145818a4-611d-4bdf-993f-76c63e2da9ba',1.79530069074700617797e+09,'status','{"status":"succeeded"}');
INSERT INTO "events" VALUES(4,'e57dc1ed-47f9-41b0-b558-80a0741a4f5b',1.79530069076398468021e+09,'status','{"status":"queued"}');
INSERT INTO "events" VALUES(5,'e57dc1ed-47f9-41b0-b558-80a0741a4f5b',1.79530069076700210571e+09,'status','{"status":"running"}');
INSERT INTO "events" VALUES(6,'e57dc1ed-47f9-41b0-b558-80a0741a4f5b',1.79530069131698894499e+09,'progress','{"method":"gradient","phase":"running"}');
INSERT INTO "events" VALUES(7,'e57dc1ed-47f9-41b0-b558-80a0741a4f5b',1.79530069185200929636e+09,'progress','{"method":"gradient","lower":11.611713871565597}');
INSERT INTO "events" VALUES(8,'e57dc1ed-47f9-41b0-b558-80a0741a4f5b',1.79530069407098746294e+09,'progress','{"method":"lipsdp","phase":"solving","upper":13.019018971054415,"gap":1.0}');
INSERT INTO "events" VALUES(9,'e57dc1ed-47f9-41b0-b558-80a0741a4f5b',1.79530069468100214003e+09,'progress','{"method":"exact","phase":"running"}');
INSERT INTO "events" VALUES(10,'e57dc1ed-47f9-41b0-b558-80a0741a4f5b',1.79530069528200483322e+09,'progress','{"method":"exact","upper":11.635534243051707,"lower":11.611713859845922}');
INSERT INTO "events" VALUES(11,'e57dc1ed-47f9-41b0-b558-80a0741a4f5b',1.7953006958150134086e+09,'status','{"status":"succeeded"}');
INSERT INTO "events" VALUES(12,'d82f70a9-5632-4be0-94d1-c8955230e9f9',1.79530069589499688149e+09,'status','{"status":"queued"}');
INSERT INTO "events" VALUES(13,'d82f70a9-5632-4be0-94d1-c8955230e9f9',1.79530069593901181216e+09,'status','{"status":"running"}');
INSERT INTO "events" VALUES(14,'d82f70a9-5632-4be0-94d1-c8955230e9f9',1.79530069607701158523e+09,'status','{"status":"succeeded"}');
CREATE TABLE hooks (
	registry VARCHAR(16) NOT NULL, 
	delivery VARCHAR(128) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	event JSON NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	job VARCHAR(36), 
	error VARCHAR(1024), 
	tags JSON, 
	tries INTEGER NOT NULL, 
	next_at FLOAT NOT NULL, 
	lease_until FLOAT, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY (registry, delivery)
);
CREATE TABLE idempotency (
	tenant VARCHAR(64) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	job VARCHAR(36), 
	status INTEGER, 
	headers JSON, 
	body TEXT, 
	created_at FLOAT NOT NULL, 
	renewed_at FLOAT NOT NULL, 
	PRIMARY KEY (tenant, "key")
);
CREATE TABLE jobs (
	id VARCHAR(36) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	model VARCHAR(64) NOT NULL, 
	blob VARCHAR(128) NOT NULL, 
	request JSON NOT NULL, 
	methods VARCHAR(1024) NOT NULL, 
	metadata JSON NOT NULL, 
	cache_key VARCHAR(64) NOT NULL, 
	cached BOOLEAN NOT NULL, 
	priority INTEGER NOT NULL, 
	timeout_s FLOAT NOT NULL, 
	created_at FLOAT NOT NULL, 
	started_at FLOAT, 
	finished_at FLOAT, 
	expires_at FLOAT, 
	attempt INTEGER NOT NULL, 
	losses INTEGER NOT NULL, 
	owner VARCHAR(128), 
	lease_until FLOAT, 
	worker VARCHAR(128), 
	device VARCHAR(64), 
	progress JSON, 
	error JSON, 
	has_witness BOOLEAN NOT NULL, dataset VARCHAR(64), has_certificate BOOLEAN DEFAULT 0 NOT NULL, tenant VARCHAR(64) DEFAULT '' NOT NULL, start_by FLOAT, expired BOOLEAN DEFAULT 0 NOT NULL, webhook_url VARCHAR(2048), 
	PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('145818a4-611d-4bdf-993f-76c63e2da9ba','inspect','succeeded','050027fed65f655a09bb04a19ac4c0e4b59565986dc90c42addf0ccd23d429a3','staging/8a7f1eaf70dc44b89e992c840c9a8c58','{}','','{}','',0,5,120.0,1.79530069070701456075e+09,1.79530069073698806758e+09,1.79530069074600028989e+09,NULL,1,0,'host-23726-e177bbfc',NULL,'host/1','cpu',NULL,NULL,0,NULL,0,'',NULL,0,NULL);
INSERT INTO "jobs" VALUES('e57dc1ed-47f9-41b0-b558-80a0741a4f5b','analyze','succeeded','050027fed65f655a09bb04a19ac4c0e4b59565986dc90c42addf0ccd23d429a3','05/050027fed65f655a09bb04a19ac4c0e4b59565986dc90c42addf0ccd23d429a3','{"methods":["autolip","gradient","lipsdp","exact"],"inputs":null,"input":null,"output":null,"norm":"2","domain":{"kind":"all"},"target":{"kind":"all"},"options":{},"dataset":null,"certify":false,"gate":null,"budget_s":5.0,"seed":0}',',autolip,gradient,lipsdp,exact,','{}','e9c47594ce9ea8ba6c971071ff241cc40c08140bc9b320ebe16111dd2b31b113',0,5,600.0,1.79530069076398468021e+09,1.79530069076700210571e+09,1.79530069581400752065e+09,NULL,1,0,'host-23726-e177bbfc',NULL,'host/0','cpu','{"method":"exact","upper":11.635534243051707,"lower":11.611713859845922}',NULL,1,NULL,0,'',1.79538709076398468014e+09,0,NULL);
INSERT INTO "jobs" VALUES('d82f70a9-5632-4be0-94d1-c8955230e9f9','analyze','succeeded','050027fed65f655a09bb04a19ac4c0e4b59565986dc90c42addf0ccd23d429a3','05/050027fed65f655a09bb04a19ac4c0e4b59565986dc90c42addf0ccd23d429a3','{"methods":["autolip"],"inputs":null,"input":null,"output":null,"norm":"2","domain":{"kind":"box","lower":0.0,"upper":1.0},"target":{"kind":"all"},"options":{"gradient":{"steps":3}},"dataset":null,"certify":false,"gate":null,"budget_s":60.0,"seed":0}',',autolip,','{}','8290ac06125bb04d0f488a3f552ae98c83b232b8db25278580d7facc1441d2be',0,5,600.0,1.79530069589399099349e+09,1.79530069593700027466e+09,1.79530069607701158523e+09,NULL,1,0,'host-23726-e177bbfc',NULL,'host/0','cpu',NULL,NULL,0,NULL,1,'',1.79538709589399099342e+09,0,NULL);
CREATE TABLE keys (
	id VARCHAR(16) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	scopes VARCHAR(64) NOT NULL, 
	created_at FLOAT NOT NULL, 
	revoked_at FLOAT, 
	PRIMARY KEY (id), 
	UNIQUE (hash)
);
CREATE TABLE "models" (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	format VARCHAR(32) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	created_at FLOAT NOT NULL, 
	inspection JSON NOT NULL, 
	tenant VARCHAR(64) DEFAULT '' NOT NULL, 
	CONSTRAINT models_pkey PRIMARY KEY (tenant, id)
);
INSERT INTO "models" VALUES('050027fed65f655a09bb04a19ac4c0e4b59565986dc90c42addf0ccd23d429a3','iris.onnx','onnx',1060,1.79530069075501251215e+09,'{"inputs":[{"name":"x","datatype":"FP64","shape":[1,4]}],"outputs":[{"name":"y","datatype":"FP64","shape":[1,3]}],"parameters":93,"operators":{"Gemm":3,"Relu":2},"unsupported":[],"warnings":[]}','');
CREATE TABLE results (
	job VARCHAR(36) NOT NULL, 
	result JSON NOT NULL, 
	witness BLOB, certificate JSON, 
	PRIMARY KEY (job), 
	FOREIGN KEY(job) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "results" VALUES('145818a4-611d-4bdf-993f-76c63e2da9ba','{"format":"onnx","inputs":[{"name":"x","datatype":"FP64","shape":[1,4]}],"outputs":[{"name":"y","datatype":"FP64","shape":[1,3]}],"parameters":93,"operators":{"Gemm":3,"Relu":2},"unsupported":[],"warnings":[]}',NULL,NULL);
INSERT INTO "results" VALUES('e57dc1ed-47f9-41b0-b558-80a0741a4f5b','{"norm":"2","domain":{"kind":"all"},"target":{"kind":"all"},"upper":{"value":11.634899813656329,"method":"exact","guarantee":"certified"},"lower":{"value":11.634355122309996,"method":"gradient","guarantee":"witnessed"},"ratio":1.0000468174935875,"verdict":null,"estimates":[{"method":"autolip","kind":"upper","guarantee":"certified","status":"ok","reason":null,"value":17.081988066341008,"seconds":0.020868,"details":{"blocks":5},"layers":[]},{"method":"gradient","kind":"lower","guarantee":"witnessed","status":"ok","reason":null,"value":11.634355122309996,"seconds":3.053662,"details":{"restarts":8,"steps":20},"layers":[]},{"method":"lipsdp","kind":"upper","guarantee":"certified","status":"ok","reason":null,"value":11.635340103536555,"seconds":0.296782,"details":{"form":"neuron","whole":true,"pieces":1,"neurons":12,"iterations":9,"gap":3.643501777365812e-08,"relaxation_optimum":11.63533989156964},"layers":[{"names":["fc0","act0","fc1","act1","fc2"],"factor":11.635340103536555,"autolip":17.081988066341008,"gain":1.468112484408509,"activations":[{"name":"act0","neurons":6,"gain":2.7744358174309394,"multipliers":[0.11651331192795056,0.4824920498215496]},{"name":"act1","neurons":6,"gain":7.649428985651366,"multipliers":[0.3885195538354114,1.4712339630882787]}]}]},{"method":"exact","kind":"upper","guarantee":"certified","status":"ok","reason":null,"value":11.634899813656329,"seconds":1.545043,"details":{"status":"deadline","gap":0.0019967727436962512,"open":8,"split":20,"outbounded":13,"empty":0,"unproved":0,"programs":13,"trail":[[0.608,11.635534243051707,11.611713859845922],[1.285,11.634899813656329,11.611713859845922],[1.428,11.634899813656329,11.611713859913255]]},"layers":[]}],"layers":[{"index":0,"name":"fc0","op":"Gemm","kind":"affine","input_shape":[1,4],"output_shape":[1,6],"parameters":30,"norm":{"upper":2.7789292659469638,"lower":2.778929265933035,"method":"gram"},"branches":[],"slope":null,"lipschitz":2.7789292659469638,"cumulative":2.7789292659469638,"share":0.36013278566035395,"sources":[-1]},{"index":1,"name":"act0","op":"Relu","kind":"activation","input_shape":[1,6],"output_shape":[1,6],"parameters":0,"norm":null,"branches":[],"slope":[0.0,1.0],"lipschitz":1.0,"cumulative":2.7789292659469638,"share":0.0,"sources":[0]},{"index":2,"name":"fc1","op":"Gemm","kind":"affine","input_shape":[1,6],"output_shape":[1,6],"parameters":42,"norm":{"upper":2.9258209909114337,"lower":2.92582099089675,"method":"gram"},"branches":[],"slope":null,"lipschitz":2.9258209909114337,"cumulative":8.130649578565729,"share":0.3782825314236165,"sources":[1]},{"index":3,"name":"act1","op":"Relu","kind":"activation","input_shape":[1,6],"output_shape":[1,6],"parameters":0,"norm":null,"branches":[],"slope":[0.0,1.0],"lipschitz":1.0,"cumulative":8.130649578565729,"share":0.0,"sources":[2]},{"index":4,"name":"fc2","op":"Gemm","kind":"affine","input_shape":[1,6],"output_shape":[1,3],"parameters":21,"norm":{"upper":2.100937680474273,"lower":2.1009376804637427,"method":"gram"},"branches":[],"slope":null,"lipschitz":2.100937680474273,"cumulative":17.081988066341008,"share":0.2615846829160295,"sources":[3]}],"certificates":[],"model":{"format":"onnx","inputs":[{"name":"x","datatype":"FP64","shape":[1,4]}],"outputs":[{"name":"y","datatype":"FP64","shape":[1,3]}],"parameters":93,"operators":{"Gemm":3,"Relu":2}},"engine":{"version":"0.1.0","device":"cpu","dtype":"float64","torch":"2.15.0+cu132"},"warnings":[]}',X'504B03042D000000000000002100AA0BCD32FFFFFFFFFFFFFFFF0900140076616C75652E6E70790100100088000000000000008800000000000000934E554D5059010076007B276465736372273A20273C6638272C2027666F727472616E5F6F72646572273A2046616C73652C20277368617065273A2028292C207D20202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020200A37BED031CA442740504B03042D0000000000000021007AE45D31FFFFFFFFFFFFFFFF07001400782E782E6E707901001000A000000000000000A000000000000000934E554D5059010076007B276465736372273A20273C6638272C2027666F727472616E5F6F72646572273A2046616C73652C20277368617065273A2028312C2034292C207D202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020200A256B8DFCA39216C0B8399FA1CE8A06C04BFA91313BED1040DC740E5ED7CD05C0504B03042D0000000000000021002E149D45FFFFFFFFFFFFFFFF07001400792E782E6E707901001000A000000000000000A000000000000000934E554D5059010076007B276465736372273A20273C6638272C2027666F727472616E5F6F72646572273A2046616C73652C20277368617065273A2028312C2034292C207D202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020200AC9D1EE22A09116C09C9127648D9206C011A9BEA2E5F010400A4E183161C105C0504B01022D032D000000000000002100AA0BCD32880000008800000009000000000000000000000080010000000076616C75652E6E7079504B01022D032D0000000000000021007AE45D31A0000000A00000000700000000000000000000008001C3000000782E782E6E7079504B01022D032D0000000000000021002E149D45A0000000A000000007000000000000000000000080019C010000792E782E6E7079504B05060000000003000300A1000000750200000000',NULL);
INSERT INTO "results" VALUES('d82f70a9-5632-4be0-94d1-c8955230e9f9','{"norm":"2","domain":{"kind":"box","lower":0.0,"upper":1.0},"target":{"kind":"all"},"upper":{"value":17.081988066341008,"method":"autolip","guarantee":"certified"},"lower":null,"ratio":null,"verdict":null,"estimates":[{"method":"autolip","kind":"upper","guarantee":"certified","status":"ok","reason":null,"value":17.081988066341008,"seconds":0.033619,"details":{"blocks":5},"layers":[]}],"layers":[{"index":0,"name":"fc0","op":"Gemm","kind":"affine","input_shape":[1,4],"output_shape":[1,6],"parameters":30,"norm":{"upper":2.7789292659469638,"lower":2.778929265933035,"method":"gram"},"branches":[],"slope":null,"lipschitz":2.7789292659469638,"cumulative":2.7789292659469638,"share":0.36013278566035395,"sources":[-1]},{"index":1,"name":"act0","op":"Relu","kind":"activation","input_shape":[1,6],"output_shape":[1,6],"parameters":0,"norm":null,"branches":[],"slope":[0.0,1.0],"lipschitz":1.0,"cumulative":2.7789292659469638,"share":0.0,"sources":[0]},{"index":2,"name":"fc1","op":"Gemm","kind":"affine","input_shape":[1,6],"output_shape":[1,6],"parameters":42,"norm":{"upper":2.9258209909114337,"lower":2.92582099089675,"method":"gram"},"branches":[],"slope":null,"lipschitz":2.9258209909114337,"cumulative":8.130649578565729,"share":0.3782825314236165,"sources":[1]},{"index":3,"name":"act1","op":"Relu","kind":"activation","input_shape":[1,6],"output_shape":[1,6],"parameters":0,"norm":null,"branches":[],"slope":[0.0,1.0],"lipschitz":1.0,"cumulative":8.130649578565729,"share":0.0,"sources":[2]},{"index":4,"name":"fc2","op":"Gemm","kind":"affine","input_shape":[1,6],"output_shape":[1,3],"parameters":21,"norm":{"upper":2.100937680474273,"lower":2.1009376804637427,"method":"gram"},"branches":[],"slope":null,"lipschitz":2.100937680474273,"cumulative":17.081988066341008,"share":0.2615846829160295,"sources":[3]}],"certificates":[],"model":{"format":"onnx","inputs":[{"name":"x","datatype":"FP64","shape":[1,4]}],"outputs":[{"name":"y","datatype":"FP64","shape":[1,3]}],"parameters":93,"operators":{"Gemm":3,"Relu":2}},"engine":{"version":"0.1.0","device":"cpu","dtype":"float64","torch":"2.15.0+cu132"},"warnings":[]}',NULL,'{"format":"lipserve-certificate","version":2,"model":{"sha256":"050027fed65f655a09bb04a19ac4c0e4b59565986dc90c42addf0ccd23d429a3"},"function":{"inputs":null,"input":null,"output":null,"norm":"2","target":{"kind":"all"},"domain":{"kind":"box","lower":0.0,"upper":1.0}},"engine":"lipserve 0.1.0","method":"autolip","bound":17.081988066341022,"nodes":[{"kind":"input","name":"","size":4},{"kind":"affine","name":"fc0","size":6},{"kind":"activation","name":"act0","size":6},{"kind":"affine","name":"fc1","size":6},{"kind":"activation","name":"act1","size":6},{"kind":"affine","name":"fc2","size":3}],"pieces":[{"kind":"autolip","start":0,"end":5,"constant":17.081988066341022,"rho":null,"activations":[],"norms":[{"node":1,"source":0,"norm":2.7789292659469638},{"node":3,"source":2,"norm":2.9258209909114337},{"node":5,"source":4,"norm":2.100937680474273}],"chains":[],"torus":[],"maps":[]}],"reported":{"method":"autolip","value":17.081988066341008}}');
CREATE TABLE secrets (
	name VARCHAR(32) NOT NULL, 
	value VARCHAR(128) NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "secrets" VALUES('webhooks','d819fe3f6a812ff51130f5c9c06eca0bf4da88da2904df919d68ba5c19d51ba6');
CREATE TABLE workers (
	name VARCHAR(128) NOT NULL, 
	supervisor VARCHAR(128) NOT NULL, 
	host VARCHAR(128) NOT NULL, 
	kinds VARCHAR(64) NOT NULL, 
	device VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	job VARCHAR(36), 
	pid INTEGER, 
	confinement VARCHAR(16) NOT NULL, 
	details JSON NOT NULL, 
	started_at FLOAT NOT NULL, 
	seen_at FLOAT NOT NULL, 
	PRIMARY KEY (name, supervisor)
);
CREATE INDEX jobs_by_model ON jobs (model, status);
CREATE INDEX jobs_by_cache_key ON jobs (cache_key, status);
CREATE INDEX events_by_job ON events (job, id);
CREATE INDEX jobs_by_dataset ON jobs (dataset, status);
CREATE INDEX jobs_by_time ON jobs (tenant, created_at, id);
CREATE INDEX jobs_queue ON jobs (status, kind, priority DESC, created_at, id);
CREATE INDEX jobs_by_start ON jobs (status, start_by);
CREATE INDEX jobs_by_expiry ON jobs (expired, expires_at);
CREATE INDEX workers_by_supervisor ON workers (supervisor);
CREATE INDEX idempotency_by_time ON idempotency (created_at);
CREATE INDEX deliveries_due ON deliveries (state, next_at);
CREATE INDEX deliveries_by_job ON deliveries (tenant, job);
CREATE INDEX deliveries_by_time ON deliveries (tenant, created_at, id);
CREATE INDEX attempts_by_delivery ON attempts (delivery, id);
CREATE INDEX hooks_due ON hooks (state, next_at);
CREATE INDEX hooks_by_time ON hooks (tenant, created_at, delivery);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',14);
COMMIT;
