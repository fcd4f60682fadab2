# Las páginas de la persona.

heading = Sus correos de { $sender }
who = { $sender } escribe a { $address }.

list-heading = Esta lista
list-open = Este mensaje procede de la lista «{ $list }».
list-left = Ha dejado la lista «{ $list }». Ya no se enviará nada de ella.
list-leave = Darme de baja de «{ $list }»
list-back = Volver a suscribirme a «{ $list }»
list-notice = Al pulsar este botón, acepta recibir los correos de la lista «{ $list }» de { $sender } en { $address }. Puede darse de baja en cualquier momento con el enlace de cada mensaje.

all-heading = Todo lo de { $sender }
all-open = Detener toda la publicidad de { $sender }, en todas las listas. Los mensajes sobre un pedido o una cuenta no cambian.
all-left = { $sender } ya no envía publicidad a { $address }, en ninguna lista.
all-leave = Detener toda la publicidad de { $sender }
all-back = Volver a recibir publicidad de { $sender }
all-notice = Al pulsar este botón, acepta recibir correos publicitarios de { $sender } en { $address } en todas sus listas: { $lists }. Puede darse de baja en cualquier momento con el enlace de cada mensaje.

choose-heading = Elegir por tema
choose-hint = Lo que está activado se le puede enviar.
choose-save = Guardar mi selección

done-heading = Hecho
done-list = { $address } ya no recibirá los correos de la lista «{ $list }» de { $sender }. Vale desde ahora.
done-all = { $address } ya no recibirá publicidad de { $sender }. Vale desde ahora.
done-choices = Su selección está guardada y vale desde ahora.
done-list-back = { $address } puede volver a recibir la lista «{ $list }» de { $sender }.
done-all-back = { $address } puede volver a recibir publicidad de { $sender }.
mistake = ¿Ha sido un error?
more = Ver todas las opciones

shut = Esta dirección está bloqueada por un motivo que esta página no puede cambiar. Diríjase a { $sender }.
shut-heading = No es posible aquí

unknown-heading = Este enlace no se conoce aquí
unknown-text = Utilice el enlace de un mensaje que haya recibido, exactamente como figura en él.
later-heading = Todavía no se ha registrado
later-text = Su deseo no se ha podido registrar en este momento. Vuelva a intentarlo dentro de unos minutos.
often-heading = Demasiadas solicitudes
often-text = Espere unos minutos y vuelva a intentarlo.
unclear-heading = No se ha entendido
unclear-text = No se ha cambiado nada. Abra el enlace de su mensaje y utilice los botones de la página.

contact = Contacto
imprint = Aviso legal
languages = Idioma

confirm-subject-list = Confirme, por favor: «{ $list }» de { $sender }
confirm-subject-all = Confirme, por favor: correos de { $sender }
confirm-asked-list = Esta dirección se ha introducido para recibir la lista «{ $list }» de { $sender }. No se enviará nada sin su confirmación.
confirm-asked-all = Esta dirección se ha introducido para recibir correos de { $sender }. No se enviará nada sin su confirmación.
confirm-do = Si fue usted, abra esta página y pulse el botón:
confirm-not-you = Si no fue usted, no tiene que hacer nada. El enlace vale durante { $days } días y no hay recordatorio.
confirm-heading = Un paso más
confirm-button = Sí, quiero recibir estos correos
confirm-done-list = { $sender } ya puede enviarle la lista «{ $list }» a { $address }. Puede dejarla en cualquier momento con el enlace de cada mensaje.
confirm-done-all = { $sender } ya puede enviarle sus correos a { $address }. Puede dejarlos en cualquier momento con el enlace de cada mensaje.
confirm-expired-heading = Este enlace ha caducado
confirm-expired = No se ha registrado nada. Si todavía quiere recibir estos correos de { $sender }, introduzca su dirección de nuevo.
confirm-left-heading = No registrado
confirm-left = Desde que se envió este enlace, esta dirección ha dicho que no a { $sender }, y eso cuenta. Si quiere recibir estos correos, introduzca su dirección de nuevo.
