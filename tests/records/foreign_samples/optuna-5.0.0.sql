BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'logistic');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MINIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,20,5.91631265845298903727e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,40,5.22336883571049348518e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,1,60,0.472380190972546,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,1,80,4.32440958460921398565e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,1,100,4.02546432613289484336e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,1,120,3.78298507052934662731e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,1,140,3.57945644523053163599e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,1,160,3.4076029405202146183e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,1,180,3.26016736068207413357e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(10,1,200,3.12924443229623094886e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(11,1,220,3.01745264271454205484e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(12,1,240,2.91743129577625603943e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(13,1,260,2.83284474807081465552e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(14,1,280,2.75440985600194143678e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(15,1,300,2.68156012362205653509e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(16,1,320,2.61482749283109217053e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(17,1,340,2.55237412164852073281e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(18,1,360,2.49747041184827822668e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(19,1,380,2.4453114645837789598e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(20,1,400,2.39503487046817176153e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(21,2,20,4.10718376295070686232e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(22,2,40,3.21124989790842474413e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(23,2,60,2.74686003168783110517e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(24,2,80,2.45450791593645328836e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(25,2,100,2.2512677366727085193e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(26,2,120,2.09789448009910339809e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(27,2,140,1.97661118291595272467e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(28,3,20,6.25907617167002716662e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(29,3,40,5.72790818967463755129e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(30,3,60,0.530555896374935,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(31,3,80,4.95423330417254059732e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(32,3,100,4.66335634437267554375e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(33,3,120,4.41778166429911911539e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(34,3,140,4.20890812129762648119e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(35,3,160,0.402693047538656,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(36,3,180,3.86663593429658947187e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(37,3,200,3.725834191901732928e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(38,4,20,5.76876310168013439749e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(39,4,40,4.97590292556336410978e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(40,4,60,4.46025932316846618341e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(41,4,80,4.08072681212518273419e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(42,4,100,3.76390707162787552242e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(43,4,120,3.52015616525895747024e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(44,4,140,3.31793028325666261579e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(45,4,160,0.315545955819064,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(46,4,180,3.01717257354245371736e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(47,4,200,2.89279216177570797086e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(48,4,220,2.79127019504027240603e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(49,4,240,2.69475799532465254415e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(50,4,260,2.61646354377667700319e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(51,4,280,2.54444044180523964993e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(52,4,300,2.47453801031512848895e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(53,4,320,2.41488937344797205408e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(54,4,340,2.36296068143558579688e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(55,4,360,2.31150507572178698367e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(56,4,380,2.26308755762498925445e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(57,4,400,2.21513725292751983975e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(58,5,20,2.52221755675483105818e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(59,5,40,1.92161039762746843617e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(60,7,20,3.3070146248223841745e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(61,7,40,2.53597721962330213685e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(62,7,60,2.16936774632515538829e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(63,7,80,1.9386713780949380026e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(64,8,20,3.04064019344393421384e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(65,8,40,2.32090703348478755163e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(66,8,60,1.98873456674759058193e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(67,9,20,6.04266149808773911367e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(68,9,40,5.42596835764619922493e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(69,9,60,4.91469871427152316112e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(70,9,80,4.55812039065092600154e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(71,9,100,4.25660433662733206361e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(72,9,120,4.00878942711944796783e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(73,9,140,3.79355540935021551263e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(74,9,160,3.60928046893886467216e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(75,9,180,3.44634053614622626326e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(76,9,200,3.31404917989089886631e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(77,9,220,3.2005577699057152774e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(78,9,240,3.09538166744959042375e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(79,9,260,3.00609249430277669645e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(80,9,280,0.292486225186423,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(81,9,300,2.84763942738529896026e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(82,9,320,2.77382839233566214076e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(83,9,340,2.71135084649156143932e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(84,9,360,2.65222347348732345739e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(85,9,380,2.59466227538323157553e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(86,9,400,2.54127651499726270323e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(87,10,20,0.594364129913479,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(88,10,40,5.30017919907803891632e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(89,10,60,4.79337151898576563358e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(90,10,80,4.41757529638878376765e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(91,10,100,4.11045136859122473005e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(92,10,120,3.87094737887681339394e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(93,10,140,3.66699727662606056455e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(94,10,160,3.49322145439488584983e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(95,10,180,3.34380863612421586061e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(96,10,200,3.21237905836429860073e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(97,10,220,3.09715608802615116612e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(98,10,240,2.99315070774489044858e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(99,10,260,2.9027688772631071723e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(100,10,280,2.81919620357369449248e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(101,10,300,2.74256721359509902935e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(102,10,320,2.67213365985208506359e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(103,10,340,2.61051217681680713944e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(104,10,360,2.54970321152416801169e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(105,10,380,2.49834297706424235396e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(106,10,400,0.244850312424584,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(107,11,20,4.41018137018517331071e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(108,11,40,3.43828535518411082527e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(109,11,60,2.94568982853665173315e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(110,11,80,2.64668735402194876815e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(111,11,100,2.4241665717464183638e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(112,11,120,2.25419122722714748707e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(113,11,140,2.12672700420346888483e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(114,11,160,2.01661167109247557727e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(115,11,180,1.93048773459015970965e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(116,12,20,3.26614405463625356862e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(117,12,40,2.50408338931971452545e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(118,12,60,2.14100367835499461044e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(119,12,80,1.91818293951131313423e-01,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'batch_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32, 128, 512]}}');
INSERT INTO "trial_params" VALUES(2,1,'lr',3.551107766167503621e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(3,2,'batch_size',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32, 128, 512]}}');
INSERT INTO "trial_params" VALUES(4,2,'lr',1.64612747848740886835e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(5,3,'batch_size',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32, 128, 512]}}');
INSERT INTO "trial_params" VALUES(6,3,'lr',2.2261821440254014881e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(7,4,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32, 128, 512]}}');
INSERT INTO "trial_params" VALUES(8,4,'lr',4.34108693786964608407e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(9,5,'batch_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32, 128, 512]}}');
INSERT INTO "trial_params" VALUES(10,5,'lr',6.16579210813121170176e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(11,6,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32, 128, 512]}}');
INSERT INTO "trial_params" VALUES(12,6,'lr',6.2082295769857154255e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(13,7,'batch_size',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32, 128, 512]}}');
INSERT INTO "trial_params" VALUES(14,7,'lr',2.99576994184212519467e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(15,8,'batch_size',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32, 128, 512]}}');
INSERT INTO "trial_params" VALUES(16,8,'lr',3.76272679132201415264e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(17,9,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32, 128, 512]}}');
INSERT INTO "trial_params" VALUES(18,9,'lr',2.99507625811164107654e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(19,10,'batch_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32, 128, 512]}}');
INSERT INTO "trial_params" VALUES(20,10,'lr',3.32617151053952592176e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(21,11,'batch_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32, 128, 512]}}');
INSERT INTO "trial_params" VALUES(22,11,'lr',1.3683526834621967394e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(23,12,'batch_size',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 32, 128, 512]}}');
INSERT INTO "trial_params" VALUES(24,12,'lr',3.08957298934055601957e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 1.0, "log": true}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'steps_run','400');
INSERT INTO "trial_user_attributes" VALUES(2,2,'steps_run','140');
INSERT INTO "trial_user_attributes" VALUES(3,2,'steps_to_target','140');
INSERT INTO "trial_user_attributes" VALUES(4,3,'steps_run','200');
INSERT INTO "trial_user_attributes" VALUES(5,4,'steps_run','400');
INSERT INTO "trial_user_attributes" VALUES(6,5,'steps_run','40');
INSERT INTO "trial_user_attributes" VALUES(7,5,'steps_to_target','40');
INSERT INTO "trial_user_attributes" VALUES(8,7,'steps_run','80');
INSERT INTO "trial_user_attributes" VALUES(9,7,'steps_to_target','80');
INSERT INTO "trial_user_attributes" VALUES(10,8,'steps_run','60');
INSERT INTO "trial_user_attributes" VALUES(11,8,'steps_to_target','60');
INSERT INTO "trial_user_attributes" VALUES(12,9,'steps_run','400');
INSERT INTO "trial_user_attributes" VALUES(13,10,'steps_run','400');
INSERT INTO "trial_user_attributes" VALUES(14,11,'steps_run','180');
INSERT INTO "trial_user_attributes" VALUES(15,11,'steps_to_target','180');
INSERT INTO "trial_user_attributes" VALUES(16,12,'steps_run','80');
INSERT INTO "trial_user_attributes" VALUES(17,12,'steps_to_target','80');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,2.39503487046817176153e-01,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,1.97661118291595272467e-01,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,3.725834191901732928e-01,'FINITE');
INSERT INTO "trial_values" VALUES(4,4,0,2.21513725292751983975e-01,'FINITE');
INSERT INTO "trial_values" VALUES(5,5,0,1.92161039762746843617e-01,'FINITE');
INSERT INTO "trial_values" VALUES(6,7,0,1.9386713780949380026e-01,'FINITE');
INSERT INTO "trial_values" VALUES(7,8,0,1.98873456674759058193e-01,'FINITE');
INSERT INTO "trial_values" VALUES(8,9,0,2.54127651499726270323e-01,'FINITE');
INSERT INTO "trial_values" VALUES(9,10,0,0.244850312424584,'FINITE');
INSERT INTO "trial_values" VALUES(10,11,0,1.93048773459015970965e-01,'FINITE');
INSERT INTO "trial_values" VALUES(11,12,0,1.91818293951131313423e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-26 22:35:25.293879','2026-11-26 22:35:26.348207');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-26 22:35:26.392970','2026-11-26 22:35:26.929837');
INSERT INTO "trials" VALUES(3,2,1,'PRUNED','2026-11-26 22:35:26.970385','2026-11-26 22:35:27.586381');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-26 22:35:27.635419','2026-11-26 22:35:28.397585');
INSERT INTO "trials" VALUES(5,4,1,'COMPLETE','2026-11-26 22:35:28.423235','2026-11-26 22:35:28.557878');
INSERT INTO "trials" VALUES(6,5,1,'FAIL','2026-11-26 22:35:28.576112','2026-11-26 22:35:28.617606');
INSERT INTO "trials" VALUES(7,6,1,'COMPLETE','2026-11-26 22:35:28.638950','2026-11-26 22:35:28.862378');
INSERT INTO "trials" VALUES(8,7,1,'COMPLETE','2026-11-26 22:35:28.887844','2026-11-26 22:35:29.069121');
INSERT INTO "trials" VALUES(9,8,1,'COMPLETE','2026-11-26 22:35:29.093087','2026-11-26 22:35:30.194024');
INSERT INTO "trials" VALUES(10,9,1,'COMPLETE','2026-11-26 22:35:30.217832','2026-11-26 22:35:31.211944');
INSERT INTO "trials" VALUES(11,10,1,'COMPLETE','2026-11-26 22:35:31.236419','2026-11-26 22:35:31.773460');
INSERT INTO "trials" VALUES(12,11,1,'COMPLETE','2026-11-26 22:35:31.808316','2026-11-26 22:35:32.117681');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;